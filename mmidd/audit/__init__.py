"""What is wrong with the data of a workspace, and which rows to leave out for it."""
