/**
 * Ends seeding when the goal of a torrent is reached.
 */
import * as Effect from "effect/Effect"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Signal from "../base/Signal.ts"
import * as Ticker from "../base/Ticker.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as SeedingGoal from "./SeedingGoal.ts"
import * as TorrentLife from "./TorrentLife.ts"
import type { TorrentParts } from "./TorrentParts.ts"

/**
 * Checks the goal every second until the scope closes. Seeding may begin again, when more files are wanted later and
 * stored.
 */
export const run = Effect.fnUntraced(function* (
  goal: SeedingGoal.SeedingGoal,
  {
    assembly,
    lasting: { life, options },
    swarm,
    upload
  }: Pick<TorrentParts, "assembly" | "lasting" | "swarm" | "upload">
) {
  const isReached = Signal.make()
  let reached: "ratio" | "time" | undefined
  const look = (now: number): undefined => {
    const { completedAt, isSeeding } = life.machine
    if (!isSeeding || completedAt === undefined) return
    const found = SeedingGoal.reached(goal, {
      uploadedBytes: upload.uploadedBytes,
      wantedBytes: PieceTable.wantedBytes(assembly.table),
      seedingMillis: now - completedAt
    })
    if (found === undefined) return
    reached = found
    TorrentLife.note(life, { _tag: "GoalReached" })
    Signal.set(isReached)
  }
  const dismiss = Effect.map(PieceSwarm.dismiss(swarm, "the seeding goal was reached"), () =>
    TorrentLife.note(life, { _tag: "Dismissed", reached: reached! })
  )
  yield* Signal.attend(isReached, dismiss)
  yield* Ticker.join(options.ticker, look)
})
