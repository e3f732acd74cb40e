//! Mutated checkpoints, in frames whose checksums fit: what is read is refused, or can be written and read again.

use fuzz::Target;

use super::*;
use crate::checkpoint::frames::FrameWriter;

/// The bytes in the frames of a file.
fn content(file: &[u8]) -> Vec<u8> {
    let (mut content, mut rest) = (Vec::new(), file);
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        content.extend_from_slice(&behind[..length]);
        rest = &behind[length..];
    }
    content
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut frames = FrameWriter::new(&mut file);
    frames.write(content).unwrap();
    frames.finish().unwrap();
    file
}

/// A checkpoint after so many steps of a life.
fn after(steps: u16) -> Vec<u8> {
    let step = |step: u16| (step * 7, usize::from(step) * 5, usize::from(step) % 9, step.is_multiple_of(3));
    let (world, _, _) = lived(&(0..steps).map(step).collect::<Vec<_>>());
    written(&world.history)
}

#[test]
fn checkpoints() {
    let files = [0, 5, 60].map(after);
    assert!(files.iter().all(|file| framed(&content(file)) == *file));
    let seeds = files.iter().map(|file| content(file)).collect();
    let words = ["proffer history 1\n", "Europe/Berlin", "UTC", "decision", "\u{1}\0\0\0\0\0\0\0"];
    Target { name: "checkpoints", seeds, words: &words, inputs: 4_000 }.run(|input| {
        let Ok(Checkpoint { history, position }) = read(&*framed(input), DEDUPLICATED) else { return Ok(()) };
        let failed = |error: CheckpointError| error.to_string();
        let (mut again, mut next) = (Vec::new(), Vec::new());
        write(&history, &position, &mut again).map_err(failed)?;
        read(&*again, DEDUPLICATED).map_err(failed)?;
        let until = (noon(), TimeDelta::days(400), DEDUPLICATED);
        let apply = |_: &History, position: &[u8]| Ok::<_, CheckpointError>(position.to_vec());
        advance(&*again, &mut next, until, |_| false, apply).map_err(failed)?;
        assert_eq!(read(&*next, DEDUPLICATED).map_err(failed)?.position, position);
        Ok(())
    });
}
