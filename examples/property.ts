/**
 * Tests a program's own retries as a property: `node examples/property.ts`. Whatever the disk does, and whenever, the
 * program ends with every byte in its place. A failure prints a seed; `PIECEWISE_SEED=N node examples/property.ts`
 * repeats it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Schedule } from "effect"
import * as fc from "fast-check"
import { Engine, Metainfo, type Storage, WebCryptoPieceHasher } from "piecewise"
import { FaultyStorage, KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
import { Property } from "piecewise/testing/property"

/** What the program takes for a reason to try again. The rest lasts until somebody changes something. */
const isPassing = ({ reason }: Storage.StorageError): boolean => reason._tag === "StorageUnavailable"

/** The program under test, as it runs on Node. A torrent whose storage cannot be opened is added again, up to 5 times. */
export const download = (bytes: Uint8Array, retries = 5) =>
  Effect.gen(function* () {
    const engine = yield* Engine.Engine
    const torrent = yield* engine.add(yield* Metainfo.fromBytes(bytes))
    yield* torrent.completed
  }).pipe(
    Effect.scoped,
    Effect.retry({
      schedule: Schedule.exponential("1 second"),
      times: retries,
      while: (error) => error._tag === "piecewise/StorageError" && isPassing(error)
    })
  )

/** How often the storage cannot be opened at first, and what share of its writes fails. */
const faults = fc.record({ seed: fc.nat(), failedOpens: fc.nat(5), failedWrites: fc.integer({ min: 0, max: 5 }) })

/** Checks a program in simulated worlds. Fails with the smallest counterexample, and the seed that repeats it. */
export const check = (
  program: (bytes: Uint8Array) => ReturnType<typeof download>,
  options: Property.PropertySettings
) =>
  Property.check(
    faults,
    Effect.fnUntraced(function* ({ failedOpens, failedWrites, seed }) {
      const known = yield* Effect.provide(
        KnownTorrent.make({ files: [{ path: [], length: 100_000 }], pieceLength: 16_384 }),
        WebCryptoPieceHasher.layer
      )
      const world = yield* TestEngine.run(Effect.andThen(program(known.bytes), TestEngine.TestEngine), {
        seed,
        prepare: ({ faults, join }) => {
          for (let nth = 0; nth < failedOpens; nth++) faults.failNth("open", nth, FaultyStorage.inputOutputError)
          faults.failSometimes("write", failedWrites / 10, FaultyStorage.inputOutputError)
          return join(known, PeerBehaviour.honest)
        }
      })
      return world.medium.torrent(known.metainfo.layout).isWhole
    }),
    options
  )

const main = check(download, { runs: 100 }).pipe(Effect.andThen(Console.log("100 downloads survived their disks")))
if (import.meta.main) NodeRuntime.runMain(main)
