"""Folders of images to files of labels."""
