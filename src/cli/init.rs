use super::{Context, Done, Outcome};
/// Not written yet
#[derive(clap::Args)]
pub struct Args {}
impl Args {
    pub fn run(self, _context: &mut Context) -> Outcome {
        Ok(Done::Well)
    }
}
