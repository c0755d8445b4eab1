//! A job's or a workflow's steps as a picture: laid out in columns by what must end before, drawn as SVG.
//!
//! Pure. Blocks are not drawn: their steps take their place, round after round, and steps that
//! differ only in the part in brackets are drawn as one.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use protocol::job::StepKey;

use super::{parts, words};

/// Size of a step and of the room between steps, in pixels.
const STEP: (usize, usize) = (176, 46);
const ROOM: (usize, usize) = (44, 16);
/// Around everything.
const MARGIN: usize = 6;
/// Steps of one name that are still drawn one by one.
const SINGLE: usize = 3;

/// A step as far as the picture knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Its key.
    pub(super) key: String,
    /// Keys of the steps that must end before.
    pub(super) needs: Vec<String>,
    /// Its state; none in the picture of a workflow.
    pub(super) state: Option<&'static str>,
    /// The second line.
    pub(super) detail: String,
    /// Where a click leads.
    pub(super) href: Option<String>,
}

/// Where a step is drawn, and from where lines lead to it.
#[derive(Debug, PartialEq)]
struct Placed {
    column: usize,
    row: usize,
    from: Vec<usize>,
}

/// The picture; nothing where there are no steps.
pub(super) fn draw(nodes: &[Node], label: &str) -> Markup {
    let drawn = fold(flatten(nodes));
    let placed = place(&drawn.iter().map(|(_, from)| from.clone()).collect::<Vec<_>>());
    let columns = placed.iter().map(|step| step.column + 1).max().unwrap_or(0);
    let mut heights = vec![0usize; columns];
    for step in &placed {
        heights[step.column] = heights[step.column].max(step.row + 1);
    }
    let most = heights.iter().copied().max().unwrap_or(0);
    let at = |step: &Placed| {
        let x = MARGIN + step.column * (STEP.0 + ROOM.0);
        // a column stands in the middle of the highest one
        let above = (most - heights[step.column]) * (STEP.1 + ROOM.1) / 2;
        (x, MARGIN + above + step.row * (STEP.1 + ROOM.1))
    };
    let width = 2 * MARGIN + (columns * (STEP.0 + ROOM.0)).saturating_sub(ROOM.0);
    let height = 2 * MARGIN + (most * (STEP.1 + ROOM.1)).saturating_sub(ROOM.1);
    html! {
        @if !nodes.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(label) {
                svg.graph width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group" aria-label=(label) {
                    @for step in &placed {
                        @for from in &step.from {
                            path.edge d=(curve(at(&placed[*from]), at(step))) {}
                        }
                    }
                    @for (step, (node, _)) in placed.iter().zip(&drawn) {
                        (boxed(node, at(step)))
                    }
                }
            }
        }
    }
}

fn curve((x, y): (usize, usize), (to_x, to_y): (usize, usize)) -> String {
    let (x, y, to_y) = (x + STEP.0, y + STEP.1 / 2, to_y + STEP.1 / 2);
    let middle = x.midpoint(to_x);
    format!("M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}")
}

fn boxed(node: &Node, (x, y): (usize, usize)) -> Markup {
    let state = node.state.unwrap_or("none");
    let sign = node
        .state
        .map_or_else(String::new, |state| format!("{} ", parts::sign(state)));
    let said = node
        .state
        .map_or_else(String::new, |state| format!(", {}", state.replace('_', " ")));
    let inside = html! {
        title { (node.key) (said) }
        rect x=(x) y=(y) width=(STEP.0) height=(STEP.1) rx="6" {}
        text.name x=(x + 10) y=(y + 19) { (sign) (words::clipped(&node.key, 22)) }
        text.detail x=(x + 10) y=(y + 36) { (words::clipped(&node.detail, 27)) }
    };
    html! {
        @if let Some(href) = &node.href {
            a href=(href) { g.step data-state=(state) { (inside) } }
        } @else {
            g.step data-state=(state) { (inside) }
        }
    }
}

/// The steps without blocks, each with the places of those that lead to it.
fn flatten(nodes: &[Node]) -> Vec<(Node, Vec<usize>)> {
    let tree = Tree::of(nodes);
    let leaves: Vec<usize> = (0..nodes.len())
        .filter(|node| tree.children(*node).is_empty())
        .collect();
    let place: HashMap<usize, usize> = leaves
        .iter()
        .enumerate()
        .map(|(place, node)| (*node, place))
        .collect();
    let from = |node: usize| {
        let mut from: Vec<usize> = tree.before(node).iter().map(|node| place[node]).collect();
        from.sort_unstable();
        from.dedup();
        from
    };
    leaves
        .iter()
        .map(|node| (nodes[*node].clone(), from(*node)))
        .collect()
}

/// Which step is in which block and round.
struct Tree<'a> {
    nodes: &'a [Node],
    by_key: HashMap<&'a str, usize>,
    /// The steps of a block, by round.
    rounds: HashMap<usize, BTreeMap<u32, Vec<usize>>>,
    place: Vec<Option<(usize, u32)>>,
}

impl<'a> Tree<'a> {
    fn of(nodes: &'a [Node]) -> Self {
        let by_key: HashMap<&str, usize> = nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (node.key.as_str(), at))
            .collect();
        let mut rounds: HashMap<usize, BTreeMap<u32, Vec<usize>>> = HashMap::new();
        let mut place = vec![None; nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            let Ok(key) = node.key.parse::<StepKey>() else {
                continue;
            };
            let Some(block) = key.parent().and_then(|block| by_key.get(block).copied()) else {
                continue;
            };
            let round = key.round().unwrap_or(1);
            place[at] = Some((block, round));
            rounds
                .entry(block)
                .or_default()
                .entry(round)
                .or_default()
                .push(at);
        }
        Self {
            nodes,
            by_key,
            rounds,
            place,
        }
    }

    fn children(&self, node: usize) -> Vec<usize> {
        self.rounds
            .get(&node)
            .map(|rounds| rounds.values().flatten().copied().collect())
            .unwrap_or_default()
    }

    fn needs(&self, node: usize) -> Vec<usize> {
        self.nodes[node]
            .needs
            .iter()
            .filter_map(|key| self.by_key.get(key.as_str()).copied())
            .collect()
    }

    /// The steps after which this one may start.
    fn before(&self, node: usize) -> Vec<usize> {
        let needs = self.needs(node);
        if !needs.is_empty() {
            return needs.into_iter().flat_map(|need| self.last(need)).collect();
        }
        let Some((block, round)) = self.place[node] else {
            return vec![];
        };
        match self.rounds[&block].range(..round).next_back() {
            Some((_, earlier)) => self.ends(earlier),
            None => self.before(block),
        }
    }

    /// The steps that end it: itself, or those of its last round.
    fn last(&self, node: usize) -> Vec<usize> {
        match self
            .rounds
            .get(&node)
            .and_then(|rounds| rounds.values().next_back())
        {
            Some(steps) => self.ends(steps),
            None => vec![node],
        }
    }

    /// Those of the steps that no other one of them needs.
    fn ends(&self, steps: &[usize]) -> Vec<usize> {
        let needed: Vec<usize> = steps.iter().flat_map(|step| self.needs(*step)).collect();
        let ends = steps.iter().filter(|step| !needed.contains(step));
        ends.flat_map(|step| self.last(*step)).collect()
    }
}

/// Draws many steps that differ only in the part in brackets as one.
fn fold(steps: Vec<(Node, Vec<usize>)>) -> Vec<(Node, Vec<usize>)> {
    let base = |key: &str| key.split_once('[').map(|(base, _)| base.to_owned());
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, (node, _)) in steps.iter().enumerate() {
        if let Some(base) = base(&node.key) {
            groups.entry(base).or_default().push(at);
        }
    }
    groups.retain(|_, members| members.len() > SINGLE);
    let mut new_place = vec![0; steps.len()];
    let mut kept: Vec<(Node, Vec<usize>)> = vec![];
    let mut place_of_group: HashMap<String, usize> = HashMap::new();
    for (at, (node, from)) in steps.iter().enumerate() {
        let group = base(&node.key).filter(|base| groups.contains_key(base));
        let place = group
            .as_ref()
            .and_then(|group| place_of_group.get(group).copied());
        new_place[at] = place.unwrap_or(kept.len());
        if place.is_some() {
            let place = new_place[at];
            kept[place].1.extend(from);
            continue;
        }
        match group {
            Some(group) => {
                let members: Vec<&Node> = groups[&group].iter().map(|at| &steps[*at].0).collect();
                kept.push((together(&group, &members), from.clone()));
                place_of_group.insert(group, new_place[at]);
            }
            None => kept.push((node.clone(), from.clone())),
        }
    }
    for (place, (_, from)) in kept.iter_mut().enumerate() {
        let mut renamed: Vec<usize> = from
            .iter()
            .map(|at| new_place[*at])
            .filter(|at| *at != place)
            .collect();
        renamed.sort_unstable();
        renamed.dedup();
        *from = renamed;
    }
    kept
}

/// One step for many: the state that asks most for attention, and how many are in which.
fn together(base: &str, members: &[&Node]) -> Node {
    const ORDER: [&str; 12] = [
        "failed",
        "awaiting",
        "parked",
        "cancelling",
        "running",
        "offered",
        "retry_wait",
        "ready",
        "blocked",
        "cancelled",
        "succeeded",
        "skipped",
    ];
    let mut counts: BTreeMap<usize, (&'static str, usize)> = BTreeMap::new();
    for state in members.iter().filter_map(|node| node.state) {
        let rank = ORDER
            .iter()
            .position(|known| *known == state)
            .unwrap_or(ORDER.len());
        counts.entry(rank).or_insert((state, 0)).1 += 1;
    }
    let said: Vec<String> = counts
        .values()
        .map(|(state, count)| format!("{} {count}", parts::sign(state)))
        .collect();
    Node {
        key: format!("{base} ×{}", members.len()),
        needs: vec![],
        state: counts.values().next().map(|(state, _)| *state),
        detail: said.join("  "),
        href: members.first().and_then(|node| node.href.clone()),
    }
}

/// Columns by the longest way, rows by the middle of what leads there.
fn place(from: &[Vec<usize>]) -> Vec<Placed> {
    let mut column = vec![0; from.len()];
    // steps may stand before what they need; a circle, which no checked workflow has, ends after so many passes
    for _ in 0..from.len() {
        let mut moved = false;
        for (at, needs) in from.iter().enumerate() {
            let least = needs.iter().map(|need| column[*need] + 1).max().unwrap_or(0);
            if least > column[at] && least < from.len() {
                (column[at], moved) = (least, true);
            }
        }
        if !moved {
            break;
        }
    }
    let mut row = vec![0usize; from.len()];
    for here in 0..=column.iter().copied().max().unwrap_or(0) {
        let mut steps: Vec<usize> = (0..from.len()).filter(|at| column[*at] == here).collect();
        let middle = |at: usize| {
            let rows: Vec<usize> = from[at].iter().map(|need| row[*need] * 1000).collect();
            if rows.is_empty() {
                at
            } else {
                rows.iter().sum::<usize>() / rows.len()
            }
        };
        steps.sort_by_key(|at| (middle(*at), *at));
        let places: Vec<(usize, usize)> = steps.into_iter().enumerate().collect();
        for (place, at) in places {
            row[at] = place;
        }
    }
    let steps = from.iter().enumerate();
    steps
        .map(|(at, from)| Placed {
            column: column[at],
            row: row[at],
            from: from.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(key: &str, needs: &[&str]) -> Node {
        Node {
            key: key.to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            ..Node::default()
        }
    }

    fn edges(nodes: &[Node]) -> Vec<String> {
        let flat = fold(flatten(nodes));
        let name = |at: &usize| flat[*at].0.key.clone();
        let edges = flat
            .iter()
            .flat_map(|(node, from)| from.iter().map(|from| format!("{} > {}", name(from), node.key)));
        edges.collect()
    }

    #[test]
    fn a_block_is_replaced_by_its_steps_round_after_round() {
        let nodes = [
            node("plan", &[]),
            node("cycle", &["plan"]),
            node("cycle#1/edit", &[]),
            node("cycle#1/check", &["cycle#1/edit"]),
            node("cycle#2/edit", &[]),
            node("cycle#2/check", &["cycle#2/edit"]),
            node("verify", &["cycle"]),
        ];
        assert_eq!(
            edges(&nodes),
            [
                "plan > cycle#1/edit",
                "cycle#1/edit > cycle#1/check",
                "cycle#1/check > cycle#2/edit",
                "cycle#2/edit > cycle#2/check",
                "cycle#2/check > verify",
            ]
        );
    }

    #[test]
    fn a_fan_out_is_drawn_as_one_with_what_asks_for_attention_first() {
        let mut nodes = vec![node("build", &[])];
        for (os, state) in [
            ("a", "succeeded"),
            ("b", "failed"),
            ("c", "succeeded"),
            ("d", "running"),
        ] {
            nodes.push(Node {
                state: Some(state),
                ..node(&format!("test[os={os}]"), &["build"])
            });
        }
        nodes.push(node(
            "end",
            &["test[os=a]", "test[os=b]", "test[os=c]", "test[os=d]"],
        ));
        assert_eq!(edges(&nodes), ["build > test ×4", "test ×4 > end"]);
        let folded = fold(flatten(&nodes));
        assert_eq!(
            (folded[1].0.state, folded[1].0.detail.as_str()),
            (Some("failed"), "✗ 1  ▶ 1  ✓ 2")
        );
        // a few are worth their room
        assert_eq!(edges(&nodes[..4]).len(), 3);
    }

    #[test]
    fn columns_follow_the_longest_way_and_no_two_steps_share_a_place() {
        let from = [vec![], vec![0], vec![0], vec![1, 2], vec![0, 3]];
        let placed = place(&from);
        assert_eq!(
            placed.iter().map(|step| step.column).collect::<Vec<_>>(),
            [0, 1, 1, 2, 3]
        );
        assert_eq!((placed[1].row, placed[2].row), (0, 1));
    }

    #[test]
    fn hostile_names_are_text_and_circles_end() {
        let svg = draw(&[node("<script>", &["b"]), node("b", &["<script>"])], "Steps").into_string();
        assert!(
            !svg.contains("<script>") && svg.contains("&lt;script&gt;"),
            "{svg}"
        );
        assert_eq!(draw(&[], "Steps").into_string(), "");
    }
}
