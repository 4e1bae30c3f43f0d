"""Many runs: planned, checked, grouped, launched, trained. The modules in the order in which they are used:

plan, preflight, groups, launch, run, processes; observer is the interface to a progress display.
"""
