/**
 * Whether a web seed is used: a machine of its faults, and of the times for which it rests after them. Pure: `now`, in
 * milliseconds, is an argument.
 *
 * Every rest ends, because a server may be repaired. A rest after another one is twice as long, until the seed has sent
 * a block, or a day has passed.
 *
 * A seed of many files may lack some. Their pieces are not requested from it for a while, and it goes on with the
 * others. One that lacks more than a few is set aside as a whole, because each costs a request.
 */
import type { Kind, SeedFault } from "./SeedFault.ts"

/** The first rest after a fault, and the longest (milliseconds). */
export const rests: Readonly<Record<Kind, { readonly first: number; readonly longest: number }>> = {
  Unreachable: { first: 5_000, longest: 600_000 },
  Busy: { first: 30_000, longest: 600_000 },
  Slow: { first: 60_000, longest: 1_800_000 },
  Missing: { first: 3_600_000, longest: 86_400_000 },
  Strange: { first: 600_000, longest: 86_400_000 },
  Wrong: { first: 600_000, longest: 86_400_000 },
  Forbidden: { first: 86_400_000, longest: 86_400_000 }
}

/** Kinds of faults that a block in between does not excuse: they are as bad if the seed serves something. */
const isLasting: ReadonlySet<Kind> = new Set<Kind>(["Missing", "Strange", "Wrong", "Forbidden"])

/** The files that a seed may lack until it is set aside as a whole. */
export const maxLacking = 16

/** A fault that is so long ago is forgotten (milliseconds). */
export const forgottenAfter = 86_400_000

/** How a web seed is doing. Immutable. */
export interface SeedHealth {
  /** It is not used before. */
  readonly restsUntil: number
  /** How many faults of each kind are not forgotten. */
  readonly faults: Readonly<Partial<Record<Kind, number>>>
  readonly lastFault: number
  /** Files that it does not have. */
  readonly lacking: ReadonlySet<number>
  /** When they are asked for again. */
  readonly lacksUntil: number
  /** Whether it serves ranges of files, as far as is known. */
  readonly servesRanges: boolean
}

/** What happened. */
export type Event =
  /** A block arrived. */
  | { readonly _tag: "Served" }
  /** A whole file was sent although a range was asked for. */
  | { readonly _tag: "IgnoredRange" }
  /** `file` is present if the fault is that of one file of several. */
  | { readonly _tag: "Failed"; readonly fault: SeedFault; readonly file?: number | undefined }
  /** Time has passed. */
  | { readonly _tag: "Tick" }

/** A seed of which nothing bad is known. */
export const make = (): SeedHealth => ({
  restsUntil: 0,
  faults: {},
  lastFault: Number.NEGATIVE_INFINITY,
  lacking: new Set(),
  lacksUntil: Number.POSITIVE_INFINITY,
  servesRanges: true
})

/** Takes the next step. */
export const step = (self: SeedHealth, event: Event, now: number): SeedHealth => {
  switch (event._tag) {
    case "Served":
      return served(self)
    case "IgnoredRange":
      return { ...self, servesRanges: false }
    case "Tick":
      return forget(self, now)
    case "Failed": {
      const known = forget(self, now)
      const { fault, file } = event
      if (fault.kind !== "Missing" || file === undefined) return rest(known, fault, now)
      const lacking = new Set(known.lacking).add(file)
      if (lacking.size > maxLacking) return rest({ ...known, lacking: new Set() }, fault, now)
      return { ...known, lacking, lacksUntil: now + rests.Missing.first, lastFault: now }
    }
  }
}

const rest = (self: SeedHealth, { kind, retryAfter }: SeedFault, now: number): SeedHealth => {
  const earlier = self.faults[kind] ?? 0
  const { first, longest } = rests[kind]
  const length = retryAfter === undefined ? Math.min(longest, first * 2 ** Math.min(earlier, 32)) : atLeast(retryAfter)
  // A server that ignored ranges may have been replaced.
  return {
    ...self,
    servesRanges: true,
    restsUntil: now + length,
    faults: { ...self.faults, [kind]: earlier + 1 },
    lastFault: now
  }
}

/** A server that wants us back at once would be asked without end. */
const atLeast = (millis: number): number => Math.max(1_000, millis)

const served = (self: SeedHealth): SeedHealth => {
  const kinds = Object.keys(self.faults) as Array<Kind>
  if (kinds.every((kind) => isLasting.has(kind))) return self
  return {
    ...self,
    faults: Object.fromEntries(Object.entries(self.faults).filter(([kind]) => isLasting.has(kind as Kind)))
  }
}

const forget = (self: SeedHealth, now: number): SeedHealth => {
  const isForgotten = now - self.lastFault >= forgottenAfter && Object.keys(self.faults).length > 0
  const isLacking = self.lacksUntil > now
  if (!isForgotten && isLacking) return self
  return {
    ...self,
    faults: isForgotten ? {} : self.faults,
    lacking: isLacking ? self.lacking : new Set(),
    lacksUntil: isLacking ? self.lacksUntil : Number.POSITIVE_INFINITY
  }
}
