/**
 * Reads the io-daemon's answers. An answer that breaks off, or does not follow the contract, fails as a lost connection
 * does, so that the request is repeated.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import * as Monotonic from "../../../base/Monotonic.ts"
import { IoDaemonUnavailable } from "../../../io-daemon/IoDaemon.ts"
import type { IoDaemonError } from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonClient from "../../../io-daemon/IoDaemonClient.ts"
import * as IoDaemonProtocol from "../../../io-daemon/IoDaemonProtocol.ts"
import * as IoDaemonReasons from "./IoDaemonReasons.ts"

type Response = HttpClientResponse.HttpClientResponse

/** A body of `length` bytes. */
export const bytes = (response: Response, length: number): Effect.Effect<Uint8Array, IoDaemonUnavailable> =>
  response.arrayBuffer.pipe(
    Effect.timeout(IoDaemonClient.attemptTimeout),
    Effect.mapError(IoDaemonClient.lost),
    Effect.map((buffer) => new Uint8Array(buffer)),
    Effect.filterOrFail((body) => body.length === length, IoDaemonClient.lost)
  )

/** The facts of the files that were read; `undefined` if the answer has none. */
export const readFiles = (response: Response) => {
  const header = response.headers[IoDaemonProtocol.filesHeader]
  return header === undefined
    ? Effect.undefined
    : Effect.mapError(Effect.fromResult(IoDaemonProtocol.decodeFiles(header)), IoDaemonClient.lost)
}

/** The lines of a body, for as long as they arrive. */
const lines = (response: Response): Stream.Stream<string, IoDaemonUnavailable> =>
  response.stream.pipe(
    Stream.mapError(IoDaemonClient.lost),
    Stream.timeoutOrElse({
      duration: IoDaemonClient.attemptTimeout,
      orElse: () => Stream.fail(new IoDaemonUnavailable({ why: "it did not go on in time" }))
    }),
    Stream.updateService(Clock.Clock, Monotonic.clock),
    Stream.decodeText,
    Stream.splitLines
  )

/** The SHA-1 digests of ranges, in their order; `undefined` for those that are not stored. */
export const digests = (response: Response): Stream.Stream<Uint8Array | undefined, IoDaemonUnavailable> =>
  Stream.mapEffect(lines(response), (line) =>
    Effect.mapError(Effect.fromResult(IoDaemonProtocol.decodeDigest(line)), IoDaemonClient.lost)
  )

/** What became of each of `count` files, in their order. Fails if the daemon has forgotten them. */
export const fileOutcomes = (
  response: Response,
  count: number
): Effect.Effect<ReadonlyArray<IoDaemonProtocol.FileOutcome>, IoDaemonError> =>
  lines(response).pipe(
    Stream.filter((line) => line !== ""),
    Stream.mapEffect((line) =>
      Effect.mapError(Effect.fromResult(IoDaemonProtocol.decodeFile(line)), IoDaemonClient.lost)
    ),
    Stream.mapEffect((outcome) => {
      const refused = "refusal" in outcome ? IoDaemonReasons.refusedBy(outcome.refusal) : undefined
      return refused !== undefined && IoDaemonReasons.isForgotten(refused)
        ? Effect.fail(refused)
        : Effect.succeed(outcome)
    }),
    Stream.runCollect,
    Effect.filterOrFail((outcomes) => outcomes.length === count, IoDaemonClient.lost)
  )
