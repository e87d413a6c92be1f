"""Is this gradient right? Checks of tinyreg's objectives and of anyone's code."""
