"""History in: files of many kinds, read record by record through the same readings as the wires."""
