"""Images: where they come from (`sources`), how they lie on the device (`resident`), how they vary (`augment`)."""
