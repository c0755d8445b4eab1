//! Types on their way into the document.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

/// A type that describes itself.
pub(in crate::api) struct Shape(fn(&mut SchemaGenerator) -> Schema);

impl Shape {
    pub(in crate::api) const fn of<T: JsonSchema>() -> Self {
        Self(SchemaGenerator::subschema_for::<T>)
    }
}

/// What a body holds.
pub(super) enum Content {
    /// JSON of a type.
    Json(Shape),
    /// Events of a stream.
    Events(Shape),
    /// Something else, by its media type.
    Other(&'static str),
    /// No body.
    Nothing,
}

/// As it is read: for bodies and parameters, whole in its place.
pub(in crate::api) fn inline(shape: &Shape) -> Value {
    let mut generator = settings(true).for_deserialize().into_generator();
    shape.0(&mut generator).to_value()
}

/// The types of answers: named once, and referred to.
pub(in crate::api) struct Answers(SchemaGenerator);

impl Answers {
    pub(in crate::api) fn new() -> Self {
        Self(settings(false).for_serialize().into_generator())
    }

    /// A reference to the type, or the type.
    pub(in crate::api) fn place(&mut self, shape: &Shape) -> Value {
        shape.0(&mut self.0).to_value()
    }

    /// Those that were referred to.
    pub(in crate::api) fn take(mut self) -> serde_json::Map<String, Value> {
        self.0.take_definitions(true)
    }
}

fn settings(inline: bool) -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.inline_subschemas = inline;
    })
}
