"""Networks, and their sizes by formula."""
