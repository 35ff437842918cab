"""What a run leaves on the disk: in a folder of its own, each file whole or not there, and where it continues from."""
