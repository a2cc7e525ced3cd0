//! Room: fabric.
