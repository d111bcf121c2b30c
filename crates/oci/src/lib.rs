//! OCI images: the store, registries, layouts and archives (OCI Image Format Specification 1.1, Distribution
//! Specification 1.1).
