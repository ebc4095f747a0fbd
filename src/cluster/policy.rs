//! From the plan's scheduler section to the scheduler's own configuration.
