"""The command line.

In reading order: options, data and output, which the commands share; a file for each command; main.
"""
