"""What people import: attach, download, search and sign in from Python, and the values that these return."""
