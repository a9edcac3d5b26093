"""How audits are started: Prefect flows, schedule and command line."""
