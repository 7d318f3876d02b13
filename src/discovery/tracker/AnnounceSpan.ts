/**
 * Gives an announce a span. A tracker's URL often has the passkey of a user, so the span has the host and port only, and
 * a failure in it has no URL.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../base/InfoHash.ts"
import * as SourceUrl from "../../base/SourceUrl.ts"
import type { AnnounceRequest, AnnounceResponse, Tracker, TrackerError } from "./Tracker.ts"

/** The failure that the span shows, and the one that it hides. */
class AnnounceFailed extends Data.TaggedError("AnnounceFailed")<{
  readonly message: string
  readonly hidden: Cause.Cause<TrackerError>
}> {}

const whyOf = (cause: Cause.Cause<TrackerError>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error && "why" in error ? String(error.why) : "the tracker's layer has a defect"
}

/** Announces to the tracker at `url` in a span. */
export const trace = (
  url: string,
  request: AnnounceRequest & { readonly infoHash: InfoHash.InfoHash },
  tracker: Tracker["Service"]
): Effect.Effect<AnnounceResponse, TrackerError> => {
  const place = SourceUrl.placeOf(url)
  return Effect.suspend(() => tracker.announce(url, request)).pipe(
    Effect.tap(({ peers }) => Effect.annotateCurrentSpan("piecewise.peers", peers.length)),
    Effect.catchCause((hidden) =>
      Cause.hasInterruptsOnly(hidden)
        ? Effect.failCause(hidden as Cause.Cause<never>)
        : Effect.fail(new AnnounceFailed({ hidden, message: SourceUrl.withoutSecrets(whyOf(hidden), url) }))
    ),
    Effect.withSpan("piecewise.announce", {
      kind: "client",
      attributes: {
        "piecewise.info_hash": InfoHash.toHex(request.infoHash),
        "piecewise.event": request.event ?? "interval",
        ...(place && { "server.address": place.host }),
        ...(place?.port !== undefined && { "server.port": place.port })
      }
    }),
    Effect.catch(({ hidden }) => Effect.failCause(hidden))
  )
}
