"""The command ``rucio-lab``, a module for each verb."""
