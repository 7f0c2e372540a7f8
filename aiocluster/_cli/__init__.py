"""The command ``aiocluster``: a file for each sub-command, imported when it is used."""
