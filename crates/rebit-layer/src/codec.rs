//! Compression: the frozen encoders of layer format 1, and decoders for whatever comes in.
