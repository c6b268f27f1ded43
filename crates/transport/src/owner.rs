//! The owner word and the doorbell: who drives a rank's engine, and how to wake it.
