//! PromQL: parser, engine and the Queryable trait it consumes.
