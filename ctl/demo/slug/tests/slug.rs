use slug::slug;

#[test]
fn words_are_joined_by_dashes() {
    assert_eq!(slug("Hello World"), "hello-world");
}

#[test]
fn letters_of_all_languages_stay() {
    assert_eq!(slug("Überall Öl"), "überall-öl");
}

#[test]
fn punctuation_leaves_one_dash_and_none_at_the_ends() {
    assert_eq!(slug("  Hello, World! (again)"), "hello-world-again");
}
