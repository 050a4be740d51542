"""The Rucio server as such: its client library, plain REST, its clock, and its faults as errors of ours."""
