"""The command line: options, which the commands share; a file for each command; main."""
