//! Turns titles into the last part of a web address.

/// Lower-case letters and digits, with dashes between the words.
pub fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        if c.is_alphanumeric() {
            slug.extend(c.to_lowercase());
        } else {
            slug.push('-');
        }
    }
    slug
}
