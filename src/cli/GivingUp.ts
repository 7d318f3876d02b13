/**
 * `--give-up TIME`: ends a download that makes no progress. Progress is a verified and stored piece, or the metadata of
 * a magnet link: bytes that arrive and are of no use would keep a hopeless download alive. Time in which pieces are
 * verified at the start, or flushed at the end, does not count.
 */
import * as Effect from "effect/Effect"
import * as Monotonic from "../base/Monotonic.ts"
import * as Bottleneck from "../torrent/Bottleneck.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as Units from "./Units.ts"

/** How long a download may go without progress: as the user wrote it, and in milliseconds. */
export interface GiveUp {
  readonly text: string
  readonly millis: number
}

/** How often the progress is looked at. */
const checkEvery = "1 second"

/** Reads `--give-up`; `undefined` if it was not given. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const text = Arguments.get(args, "give-up")
  if (text === undefined) return undefined
  const millis = Units.parseDuration(text)
  if (millis !== undefined && millis > 0) return { text, millis } satisfies GiveUp
  const why = `--give-up ${text} is not a time: it must be a time such as 90s, 30m or 2h`
  return yield* Effect.fail(new Arguments.WrongUsage(why))
})

/** Fails when the download has made no progress for so long. Runs until then, or until it is interrupted. */
export const watch = Effect.fnUntraced(function* (
  status: Effect.Effect<TorrentStatus>,
  { millis, text }: GiveUp
): Effect.fn.Return<never, CommandFailed> {
  let storedBytes = 0
  let since = yield* Monotonic.now
  while (true) {
    const current = yield* status
    const now = yield* Monotonic.now
    const { _tag } = current.state
    const isFetching = _tag === "Downloading" || _tag === "StorageFailing"
    if (!isFetching || current.storedBytes > storedBytes) since = now
    storedBytes = current.storedBytes
    if (now - since >= millis) {
      const why = Bottleneck.describe(current.bottleneck)
      return yield* new CommandFailed({
        why: `no piece was completed for ${text}, so the download ends: ${why}. Run it again to go on`
      })
    }
    yield* Effect.sleep(checkEvery)
  }
})

/** The same for the metadata of a magnet link. `why` says what is known about why it was not found. */
export const bound = <A, R>(
  metadata: Effect.Effect<A, CommandFailed, R>,
  giveUp: GiveUp | undefined,
  why: () => string
): Effect.Effect<A, CommandFailed, R> =>
  giveUp === undefined
    ? metadata
    : Effect.timeoutOrElse(metadata, {
        duration: giveUp.millis,
        orElse: () =>
          Effect.fail(new CommandFailed({ why: `no peer sent the metadata for ${giveUp.text}, so it ends: ${why()}` }))
      })
