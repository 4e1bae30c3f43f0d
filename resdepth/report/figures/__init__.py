"""The figures of sweeps."""
