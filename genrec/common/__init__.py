"""Tools of every room: errors, settings, files and folders, devices, progress, workers."""
