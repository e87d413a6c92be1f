"""The core, in reading order: layers, losses, penalties, network, objective, optimizers, training."""
