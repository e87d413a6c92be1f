"""The core: layers, losses, penalties, network, objective, optimizers, training."""
