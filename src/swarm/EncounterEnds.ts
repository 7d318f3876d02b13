/**
 * What the end of a dial or a session says about the peer. Pure.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Descriptors from "../base/Descriptors.ts"
import type * as Introduction from "../connect/Introduction.ts"
import type * as Places from "../connect/Places.ts"
import type { SessionError } from "../peer/PeerSession.ts"
import type * as Encounters from "./Encounters.ts"
import type * as PeerBook from "./PeerBook.ts"
import type * as PeerPolicy from "./PeerPolicy.ts"

/** What ends a dial or a session. */
export type EncounterError = Introduction.IntroductionError | SessionError | Encounters.NoPlace

/** Why a peer has to leave its place, as the end of a sentence. */
export const reasons: Readonly<Record<Places.Why, string>> = {
  useless: "it was of no use for 2 minutes, and others wait",
  host: "its host has more connections than others that wait",
  torrent: "another torrent needs its place",
  rank: "another peer is preferred to it",
  descriptors: "this process has too many open files"
}

/**
 * Whether a dial failed because of the peer. One that we cancelled says nothing about the peer, nor does an incoming
 * connection about whether the peer can be reached. That we found ourselves is of no use to anybody.
 */
export const isUnreachable = (end: PeerBook.EncounterEnd, error: EncounterError | undefined): boolean =>
  (end === "useful" || end === "failed" || end === "not admitted") && error?._tag !== "SelfConnection"

/** What the end of an encounter says about the peer. `isCancelled` if we ended it before the peer was connected. */
export const endOf = (
  isUseful: boolean,
  error: EncounterError | undefined,
  place: Places.Place | undefined,
  isCancelled: boolean
): PeerBook.EncounterEnd => {
  if (error?._tag === "NotAdmitted") return "not admitted"
  if (error?._tag === "NoPlace") return "without a place"
  if (place === undefined && Descriptors.isExhausted(error)) return "not tried"
  if (place?.state === "displaced") return place.why === "useless" ? "useless" : "without a place"
  if (isCancelled) return "cancelled"
  return isUseful ? "useful" : "failed"
}

/** Why a session ended that has no error. */
export const reasonOf = (exit: Exit.Exit<void, EncounterError>): string => {
  if (Exit.isSuccess(exit)) return "it closed the connection"
  return Cause.hasDies(exit.cause) ? "an internal error ended the session" : "we ended the session"
}

/** What a peer did wrong that did not end as it should; `undefined` if nothing. A lie is found elsewhere. */
export const offenceOf = (
  end: PeerBook.EncounterEnd,
  error: EncounterError | undefined
): PeerPolicy.Offence["what"] | undefined => {
  if (error?._tag === "piecewise/WireError") return error.isFlood === true ? "flood" : "protocol error"
  return end === "useless" ? "useless" : undefined
}
