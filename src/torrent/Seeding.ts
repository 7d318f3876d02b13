/**
 * Ends seeding when the goal of a torrent is reached.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Monotonic from "../base/Monotonic.ts"
import * as SeedingGoal from "./SeedingGoal.ts"
import * as TorrentLife from "./TorrentLife.ts"
import type { TorrentParts } from "./TorrentParts.ts"

/** How often the goal is checked. */
const lookEvery = "1 second"

/**
 * Checks the goal for as long as the torrent runs. Seeding may begin again, when more files are wanted later and
 * stored.
 */
export const run = (
  goal: SeedingGoal.SeedingGoal,
  { assembly, lasting: { life }, swarm, upload }: Pick<TorrentParts, "assembly" | "lasting" | "swarm" | "upload">
): Effect.Effect<unknown> =>
  Effect.gen(function* () {
    const { completedAt, isSeeding } = life.machine
    if (!isSeeding || completedAt === undefined) return
    const reached = SeedingGoal.reached(goal, {
      uploadedBytes: upload.uploadedBytes,
      wantedBytes: PieceTable.wantedBytes(assembly.table),
      seedingMillis: (yield* Monotonic.now) - completedAt
    })
    if (reached === undefined) return
    TorrentLife.note(life, { _tag: "GoalReached" })
    yield* swarm.dismiss("the seeding goal was reached")
    TorrentLife.note(life, { _tag: "Dismissed", reached })
  }).pipe(Effect.repeat(Schedule.spaced(lookEvery)))
