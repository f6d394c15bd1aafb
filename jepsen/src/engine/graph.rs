//! Short cycles and paths in a graph of numbered nodes.
//!
//! A graph is a list of edges sorted by where they begin. Its strongly connected components are found by Tarjan's
//! algorithm (1972) with a stack of its own, so the depth of a graph is no limit. A cycle or a path is told to people,
//! so what counts is not how many edges it has but how many sentences it takes: edges along a chain (a session's
//! program, say) cost one together, however many follow one another, and every other edge costs one. The order of the
//! search, and so what it finds, depends on the edges alone.

use std::collections::VecDeque;

/// No node.
const NONE: u32 = u32::MAX;

/// A directed graph.
pub(crate) struct Graph {
    /// For each node, where its edges begin in `targets`; and where the last one's end.
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Graph {
    /// A graph of nodes 0 to `nodes` - 1. The edges are asked for twice.
    pub(crate) fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0u32; nodes + 1];
        edges.clone().for_each(|(from, _)| starts[from as usize + 1] += 1);
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut targets = vec![0; starts[nodes] as usize];
        let mut next = starts.clone();
        for (from, to) in edges {
            targets[next[from as usize] as usize] = to;
            next[from as usize] += 1;
        }
        Graph { starts, targets }
    }

    /// How many nodes it has.
    pub(crate) fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Where the edges of a node lead.
    pub(crate) fn after(&self, node: u32) -> &[u32] {
        &self.targets[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }

    /// The component of each node: two nodes have the same number if each can be reached from the other.
    pub(crate) fn components(&self) -> Vec<u32> {
        let nodes = self.nodes();
        let mut component = vec![NONE; nodes];
        // The order of first visits, and the first visited node that is known to be in the same component.
        let mut low = vec![NONE; nodes];
        let mut next = self.starts[..nodes].to_vec();
        let (mut visits, mut components) = (0, 0);
        let mut open: Vec<u32> = Vec::new();
        let mut path: Vec<(u32, u32)> = Vec::new();
        for root in 0..nodes as u32 {
            if low[root as usize] != NONE {
                continue;
            }
            low[root as usize] = visits;
            path.push((root, visits));
            open.push(root);
            visits += 1;
            while let Some((node, visit)) = path.last().copied() {
                let at = node as usize;
                if next[at] < self.starts[at + 1] {
                    let target = self.targets[next[at] as usize];
                    next[at] += 1;
                    if low[target as usize] == NONE {
                        low[target as usize] = visits;
                        path.push((target, visits));
                        open.push(target);
                        visits += 1;
                    } else if component[target as usize] == NONE {
                        low[at] = low[at].min(low[target as usize]);
                    }
                    continue;
                }
                path.pop();
                if let Some((parent, _)) = path.last() {
                    low[*parent as usize] = low[*parent as usize].min(low[at]);
                }
                if low[at] == visit {
                    while let Some(member) = open.pop() {
                        component[member as usize] = components;
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        component
    }

    /// A short cycle in each of the first `cycles_max` components that have one, by the smallest node of the
    /// component; each as its nodes in order, the first not repeated. Edges for which `is_chain` holds cost nothing
    /// after another such edge.
    pub(crate) fn cycles(
        &self,
        component: &[u32],
        cycles_max: usize,
        is_chain: impl Fn(u32, u32) -> bool,
    ) -> Vec<Vec<u32>> {
        let mut members: Vec<(u32, u32)> = component.iter().copied().zip(0..).collect();
        members.sort_unstable();
        let mut groups: Vec<&[(u32, u32)]> =
            members.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1).collect();
        groups.sort_unstable_by_key(|group| group[0].1);
        groups.truncate(cycles_max);
        let mut walk = Walk::new(self.nodes());
        let mut cycles = Vec::new();
        for group in groups {
            let is_inside = |node: u32| component[node as usize] == group[0].0;
            // A cycle that begins where a chain's run ends is not cut within a run.
            let mut begins: Vec<u32> = Vec::new();
            for (_, from) in group {
                begins
                    .extend(self.after(*from).iter().filter(|to| is_inside(**to) && !is_chain(*from, **to)));
            }
            begins.sort_unstable();
            begins.dedup();
            // Short cycles are the rule, and what is saved by trying every beginning of a large component is little.
            const BEGINS_MAX: usize = 64;
            let mut best: Option<(u32, Vec<u32>)> = None;
            for begin in begins.into_iter().take(BEGINS_MAX) {
                let below = best.as_ref().map_or(NONE, |(cost, _)| *cost);
                let found = walk.run(self, begin, |node| node == begin, is_inside, &is_chain, below);
                best = found.or(best);
            }
            if let Some((_, mut nodes)) = best {
                nodes.pop();
                cycles.push(nodes);
            }
        }
        cycles
    }

    /// A short path of at least one edge from a node to one that is a goal, both included.
    pub(crate) fn path(
        &self,
        from: u32,
        is_goal: impl Fn(u32) -> bool,
        is_chain: impl Fn(u32, u32) -> bool,
    ) -> Option<Vec<u32>> {
        let mut walk = Walk::new(self.nodes());
        walk.run(self, from, is_goal, |_| true, is_chain, NONE).map(|(_, nodes)| nodes)
    }
}

/// A breadth-first search whose states are nodes, twice each: arrived along a chain, and arrived otherwise.
struct Walk {
    /// By which state each state was reached, and at what cost.
    before: Vec<u32>,
    cost: Vec<u32>,
    touched: Vec<u32>,
    queue: VecDeque<(u32, u32)>,
}

impl Walk {
    fn new(nodes: usize) -> Self {
        Walk {
            before: vec![NONE; 2 * nodes],
            cost: vec![NONE; 2 * nodes],
            touched: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// The cheapest way from a node to a goal that costs less than `below`, and its cost.
    fn run(
        &mut self,
        graph: &Graph,
        from: u32,
        is_goal: impl Fn(u32) -> bool,
        is_inside: impl Fn(u32) -> bool,
        is_chain: impl Fn(u32, u32) -> bool,
        below: u32,
    ) -> Option<(u32, Vec<u32>)> {
        for state in self.touched.drain(..) {
            self.before[state as usize] = NONE;
            self.cost[state as usize] = NONE;
        }
        self.queue.clear();
        // The beginning itself has no cost, so that a way back to it counts as reaching it.
        self.queue.push_back((2 * from, 0));
        let mut has_begun = false;
        while let Some((state, cost)) = self.queue.pop_front() {
            let node = state / 2;
            if has_begun && cost > self.cost[state as usize] {
                continue;
            }
            if cost >= below {
                return None;
            }
            if has_begun && is_goal(node) {
                return Some((cost, self.way(state, 2 * from)));
            }
            has_begun = true;
            for target in graph.after(node).iter().copied().filter(|target| is_inside(*target)) {
                let chain = is_chain(node, target);
                let is_free = chain && state % 2 == 1;
                let next = 2 * target + u32::from(chain);
                let next_cost = cost + u32::from(!is_free);
                if next_cost < self.cost[next as usize] {
                    if self.cost[next as usize] == NONE {
                        self.touched.push(next);
                    }
                    self.cost[next as usize] = next_cost;
                    self.before[next as usize] = state;
                    if is_free {
                        self.queue.push_front((next, next_cost));
                    } else {
                        self.queue.push_back((next, next_cost));
                    }
                }
            }
        }
        None
    }

    fn way(&self, end: u32, begin: u32) -> Vec<u32> {
        let mut nodes = vec![end / 2];
        let mut state = self.before[end as usize];
        while state != begin {
            nodes.push(state / 2);
            state = self.before[state as usize];
        }
        nodes.push(begin / 2);
        nodes.reverse();
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    fn random_graph(random: &mut Random) -> (usize, Vec<(u32, u32)>) {
        let nodes = 1 + random.below(8);
        let edges = (0..random.below(14)).filter_map(|_| {
            let (from, to) = (random.below(nodes), random.below(nodes));
            (from != to).then_some((from, to))
        });
        (nodes as usize, edges.collect())
    }

    /// Which nodes can be reached from which, by trying as often as needed.
    fn reach(nodes: usize, edges: &[(u32, u32)]) -> Vec<Vec<bool>> {
        let mut reach = vec![vec![false; nodes]; nodes];
        for _ in 0..=nodes {
            for (from, to) in edges {
                for (node, row) in (0u32..).zip(&mut reach) {
                    if node == *from || row[*from as usize] {
                        row[*to as usize] = true;
                    }
                }
            }
        }
        reach
    }

    /// What the cheapest walk from one node to another costs, by relaxing every edge as often as there are states.
    fn cheapest(nodes: usize, edges: &[(u32, u32)], from: u32, to: u32) -> Option<u32> {
        let is_chain = |from: u32, to: u32| to == from + 1;
        let mut costs = vec![[None::<u32>; 2]; nodes];
        for (a, b) in edges.iter().filter(|(a, _)| *a == from) {
            costs[*b as usize][usize::from(is_chain(*a, *b))] = Some(1);
        }
        for _ in 0..=2 * nodes {
            for (a, b) in edges {
                for along in [0, 1] {
                    let Some(cost) = costs[*a as usize][along] else { continue };
                    let chain = is_chain(*a, *b);
                    let cost = cost + u32::from(!(chain && along == 1));
                    let best = &mut costs[*b as usize][usize::from(chain)];
                    *best = Some(best.map_or(cost, |best| best.min(cost)));
                }
            }
        }
        costs[to as usize].iter().flatten().min().copied()
    }

    fn cost(nodes: &[u32]) -> u32 {
        let mut cost = 0;
        let mut along = false;
        for pair in nodes.windows(2) {
            let chain = pair[1] == pair[0] + 1;
            cost += u32::from(!(chain && along));
            along = chain;
        }
        cost
    }

    #[test]
    fn components_paths_and_cycles_agree_with_trying_everything() {
        let mut random = Random(0x5eed_0011);
        let (mut cyclic, mut reached) = (0, 0);
        let rounds = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
        for round in 0..rounds {
            let (nodes, edges) = random_graph(&mut random);
            let graph = Graph::new(nodes, edges.iter().copied());
            let reach = reach(nodes, &edges);
            let component = graph.components();
            for a in 0..nodes {
                for b in 0..nodes {
                    let together = a == b || reach[a][b] && reach[b][a];
                    assert_eq!(component[a] == component[b], together, "round {round}: {edges:?}");
                }
            }
            let is_chain = |from: u32, to: u32| to == from + 1;
            let (from, to) = (random.below(nodes as u32), random.below(nodes as u32));
            let path = graph.path(from, |node| node == to, is_chain);
            let expected = cheapest(nodes, &edges, from, to);
            assert_eq!(path.as_deref().map(cost), expected, "round {round}: {edges:?} {from} {to}");
            for pair in path.iter().flat_map(|path| path.windows(2)) {
                assert!(edges.contains(&(pair[0], pair[1])), "round {round}");
            }
            reached += u32::from(path.is_some());

            let cycles = graph.cycles(&component, 99, is_chain);
            let mut in_cycles: Vec<u32> =
                (0..nodes as u32).filter(|a| reach[*a as usize][*a as usize]).collect();
            let groups = {
                in_cycles.sort_unstable_by_key(|node| component[*node as usize]);
                in_cycles.chunk_by(|a, b| component[*a as usize] == component[*b as usize]).count()
            };
            assert_eq!(cycles.len(), groups, "round {round}: {edges:?}");
            for cycle in &cycles {
                let closed: Vec<u32> = cycle.iter().chain(&cycle[..1]).copied().collect();
                assert!(closed.windows(2).all(|pair| edges.contains(&(pair[0], pair[1]))), "round {round}");
                let members = in_cycles
                    .iter()
                    .filter(|node| component[**node as usize] == component[cycle[0] as usize]);
                let best = members.filter_map(|node| cheapest(nodes, &edges, *node, *node)).min();
                assert_eq!(Some(cost(&closed)), best, "round {round}: {edges:?} {cycle:?}");
            }
            cyclic += u32::from(!cycles.is_empty());
        }
        assert!(cyclic > rounds / 5 && cyclic < rounds * 4 / 5, "{cyclic}");
        assert!(reached > rounds / 5 && reached < rounds * 4 / 5, "{reached}");
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let nodes = 300_000u32;
        let edges = (0..nodes).map(|node| (node, (node + 1) % nodes));
        let graph = Graph::new(nodes as usize, edges);
        let component = graph.components();
        assert!(component.iter().all(|number| *number == 0));
        let cycles = graph.cycles(&component, 1, |from, to| to == from + 1);
        assert_eq!(cycles[0].len(), nodes as usize);
    }
}
