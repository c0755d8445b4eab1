//! How a model must write its edits: one text per protocol, of which only the
//! one in force is sent.

use protocol::documents::EditProtocol;

/// The instructions for a protocol.
pub const fn instructions(protocol: EditProtocol) -> &'static str {
    match protocol {
        EditProtocol::WholeFile => WHOLE_FILE,
        EditProtocol::SearchReplace => SEARCH_REPLACE,
        EditProtocol::ApplyPatch => APPLY_PATCH,
        EditProtocol::UnifiedDiff => UNIFIED_DIFF,
    }
}

const WHOLE_FILE: &str = "\
## How to write your changes

For every file that you change or add: its path alone on a line, then the complete new file in a fence.

src/greeting.py
```
def greet(name):
    return f\"Hello, {name}!\"
```

- Write out every line of the file. Never leave code out with a comment or dots.
- Only files that change. Nothing is written for files that stay as they are.
- If a file itself contains ``` lines, put a longer fence (````) around it.
- To delete a file, write the line `DELETE FILE: path`. To move one, write `MOVE FILE: old/path -> new/path`.
";

const SEARCH_REPLACE: &str = "\
## How to write your changes

For every change: the path of the file alone on a line, then a block that names the old lines and the new ones.

src/greeting.py
<<<<<<< SEARCH
def greet(name):
    return \"Hello\"
=======
def greet(name):
    return f\"Hello, {name}!\"
>>>>>>> REPLACE

- SEARCH repeats lines of the file exactly, with their indentation. They must occur in the file only once: repeat enough lines around the change to make them unique, and no more.
- Every change in its own small block, in the order of the file.
- A new file has an empty SEARCH part.
- Write out every line. Never leave code out with a comment or dots.
- To delete a file, write the line `DELETE FILE: path`. To move one, write `MOVE FILE: old/path -> new/path`.
";

const APPLY_PATCH: &str = "\
## How to write your changes

Write one patch:

*** Begin Patch
*** Update File: src/greeting.py
@@ def greet(name):
-    return \"Hello\"
+    return f\"Hello, {name}!\"
*** Add File: src/new.py
+first line
*** Delete File: src/old.py
*** End Patch

- Lines begin with a space (kept), `-` (removed) or `+` (added). Kept and removed lines repeat the file exactly.
- Three kept lines before and after a change are enough; they must make the place unique. `@@ line` names a line above the place when that is not enough.
- A file moves with `*** Move to: new/path` below its `*** Update File:` line.
- Write out every line. Never leave code out with a comment or dots.
";

const UNIFIED_DIFF: &str = "\
## How to write your changes

Write a unified diff in a fence:

```diff
--- a/src/greeting.py
+++ b/src/greeting.py
@@ @@
 def greet(name):
-    return \"Hello\"
+    return f\"Hello, {name}!\"
```

- Line numbers are not needed: the place is found by its lines, which must repeat the file exactly and be unique.
- A new file comes from `/dev/null`, a deleted one goes to `/dev/null`.
- Write out every line. Never leave code out with a comment or dots.
";
