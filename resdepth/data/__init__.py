"""Data sets: loading, validation, transfer to the device, augmentation."""
