//! The goals, what was measured, and the table of both.

/// Figures with their goals, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Goals(Vec<Goal>);

struct Goal {
    work: String,
    unit: &'static str,
    found: f64,
    /// Whether the figure should be at most, or at least, the bound.
    is_limit: bool,
    bound: f64,
    aim: f64,
}

impl Goals {
    /// A figure that should be small.
    pub(crate) fn at_most(&mut self, work: &str, unit: &'static str, found: f64, goal: f64, aim: f64) {
        self.0.push(Goal { work: work.to_owned(), unit, found, is_limit: true, bound: goal, aim });
    }

    /// A figure that should be large.
    pub(crate) fn at_least(&mut self, work: &str, unit: &'static str, found: f64, goal: f64, aim: f64) {
        self.0.push(Goal { work: work.to_owned(), unit, found, is_limit: false, bound: goal, aim });
    }

    /// Whether every figure reaches its goal.
    pub(crate) fn are_reached(&self) -> bool {
        self.0.iter().all(|goal| goal.is_reached(goal.bound))
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\n{:<62}{:>16}{:>16}{:>16}", "work", "measured", "goal", "aim");
        for goal in &self.0 {
            let Goal { work, unit, found, is_limit, bound, aim } = goal;
            let sign = if *is_limit { '≤' } else { '≥' };
            let verdict = match (goal.is_reached(*aim), goal.is_reached(*bound)) {
                (true, _) => "better than the aim",
                (false, true) => "reached",
                (false, false) => "MISSED",
            };
            let number = |value: f64| format!("{} {unit}", number(value));
            println!(
                "{work:<62}{:>16}{:>16}{:>16}  {verdict}",
                number(*found),
                format!("{sign} {}", number(*bound)),
                format!("{sign} {}", number(*aim)),
            );
        }
    }
}

impl Goal {
    fn is_reached(&self, bound: f64) -> bool {
        if self.is_limit { self.found <= bound } else { self.found >= bound }
    }
}

/// Two decimals below 10, one below 100, else a whole number.
fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}
