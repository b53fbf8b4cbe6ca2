"""What leaves the package: files for other tools, folders for the hub, and the references of what was used."""
