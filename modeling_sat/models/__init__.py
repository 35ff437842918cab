"""What ships inside a checkpoint: every file imports only its neighbours, and libraries that a user of it has."""
