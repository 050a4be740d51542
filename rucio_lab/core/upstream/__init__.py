"""The Rucio server itself: its client library, plain REST, its clock, and its faults as errors of ours."""
