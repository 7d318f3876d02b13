/**
 * Chooses which interested peers are unchoked, in a torrent with a limited number of upload slots (BEP 3).
 *
 * While downloading, slots are earned. Every 10 s they go to the peers that sent most in the last 20 s. A fifth of the
 * slots, at least one, and every slot that no peer has earned are optimistic: drawn at random for 30 s, so that unknown
 * peers can show how fast they send. A peer that sent nothing for a minute although we wanted something is snubbing us
 * and has earned nothing. While seeding, no peer can send us anything, so the slots rotate. The peer that has waited
 * longest is next. A turn ends after a fixed time, or sooner after a fixed number of bytes, so that neither slow nor
 * fast peers keep others waiting.
 *
 * A pure machine. The caller steps it about once a second, and whenever a peer's interest changed or a peer left, and
 * sends the frames. It is the choker of the standard policy (`PeerPolicy.ts`). A peer is its object: a new connection is
 * a new peer. Times are milliseconds.
 */

/** How often earned slots are assigned. If more often, peers' pipelines stutter (BEP 3). */
export const roundMillis = 10_000

/**
 * How long an optimistic slot lasts: long enough for the peer to unchoke us in return and to upload a piece (BEP 3).
 */
export const optimisticMillis = 30_000

/** A peer that sent nothing for this long although we wanted something is snubbing us (BEP 3). */
export const snubbedMillis = 60_000

/** How much likelier a peer that had no slot yet is drawn for an optimistic slot (BEP 3). */
export const newcomerWeight = 3

/**
 * The longest turn of a peer while seeding and others wait. The last waits as many turns as there are peers before it.
 */
export const maxTurnMillis = 60_000

/** The shortest turn: a connection needs some seconds to reach its full speed. */
export const minTurnMillis = 10_000

/** Bytes in a turn at least, so that it is worth an unchoke. */
export const turnBytes = 1_048_576

/** A turn ends when its peer has received this part of what the next one has in all, if that is more. */
const turnLead = 0.25

/** Slots of a torrent without an upload limit, at least; also libtorrent's default for a session. */
export const defaultSlots = 8

/** With fewer slots, none could be earned besides the optimistic one. */
const minSlots = 2

/** More slots than the connections that a torrent has by default are of no use. */
const maxSlots = 50

/** What a choker needs to know of a peer. Byte counts only ever grow. */
export interface Peer {
  /** Whether it wants pieces from us. */
  readonly peerInterested: boolean
  /** Whether we want pieces from it. */
  readonly amInterested: boolean
  /** Whether it says that it will not download any more (BEP 21). */
  readonly isUploadOnly: boolean
  /** Useful payload bytes that it sent us. */
  readonly usefulBytes: number
  /** Payload bytes that we sent it. */
  readonly uploadedBytes: number
}

/** Why a peer is unchoked. */
export type Slot = "earned" | "optimistic" | "turn"

interface Standing<P> {
  readonly peer: P
  slot: Slot | undefined
  /** Since when it has its slot, or waits for one. */
  since: number
  /** Its `uploadedBytes` when its slot began. */
  uploadedBefore: number
  hadSlot: boolean
  /** Its `usefulBytes` at the last step, at the last round and at the one before. */
  useful: number
  usefulLast: number
  usefulBefore: number
  /** Useful bytes that it sent in the last two rounds. */
  recentBytes: number
  /** Since when it sends nothing although we want something. */
  quietSince: number
  /** A random number that decides between equal peers. */
  salt: number
}

/** The state of one torrent's choking. Changed only through this module. */
export interface Choker<P extends Peer> {
  readonly standings: Map<P, Standing<P>>
  /** When the next round is due. */
  roundAt: number
  slots: number
  isSeeding: boolean
}

/** What a step needs besides the peers. */
export interface Options {
  /** How many peers may be unchoked; 0 or more. See `slotsFor`. */
  readonly slots: number
  /** Whether we want nothing from anybody, because everything that is wanted is stored. */
  readonly isSeeding: boolean
  readonly now: number
  readonly random: () => number
}

/** Makes a choker that chokes everybody. */
export const make = <P extends Peer>(): Choker<P> => ({
  standings: new Map(),
  roundAt: 0,
  slots: 0,
  isSeeding: false
})

/**
 * Returns a number of slots that suits an upload limit. The number of slots and the rate of each grow with the square
 * root of the limit: 2 slots at 8 KiB/s, 7 at 100 KiB/s, 22 at 1 MiB/s, and 50 from 5 MiB/s on. Without a limit
 * (`undefined`), the rate at which we upload now counts instead, and there are at least 8.
 */
export const slotsFor = (bytesPerSecond: number | undefined, uploadRate = 0): number =>
  bytesPerSecond === undefined
    ? Math.max(defaultSlots, suitableSlots(uploadRate))
    : Math.max(minSlots, suitableSlots(bytesPerSecond))

const suitableSlots = (bytesPerSecond: number): number =>
  Math.min(maxSlots, Math.floor(Math.sqrt(bytesPerSecond / 2_048)))

/** The most slots that `slotsFor` returns for a limit. */
export const mostSlotsFor = (bytesPerSecond: number | undefined): number =>
  slotsFor(bytesPerSecond, Number.POSITIVE_INFINITY)

/**
 * How many of `slots` are optimistic even if all could be earned. A single slot is optimistic, because it has to find
 * peers that send.
 */
export const optimisticSlots = (slots: number): number => Math.min(slots, Math.max(1, Math.floor(slots / 5)))

/**
 * Decides at `now` for the connected peers, and returns those that are unchoked: no more than there are slots, all of
 * them interested, and no interested peer is left out while a slot is free.
 */
export const step = <P extends Peer>(self: Choker<P>, peers: Iterable<P>, options: Options): ReadonlyArray<P> => {
  const { now } = options
  const wanting = update(self, peers, options)
  self.roundAt = Math.min(self.roundAt, now + roundMillis)
  const isDue = now >= self.roundAt
  if (isDue) {
    self.roundAt = now + roundMillis
    for (const standing of self.standings.values()) measure(standing)
  }
  if (isDue || options.slots !== self.slots || options.isSeeding !== self.isSeeding) {
    for (const standing of self.standings.values()) standing.salt = options.random()
    if (options.isSeeding) passTurns(wanting, options)
    else assignEarned(wanting, options)
  }
  self.slots = options.slots
  self.isSeeding = options.isSeeding
  fillFree(wanting, options)
  const unchoked: Array<P> = []
  for (const { peer, slot } of wanting) if (slot !== undefined) unchoked.push(peer)
  return unchoked
}

/** Updates the standings from the peers. Returns those that may be unchoked now. */
const update = <P extends Peer>(self: Choker<P>, peers: Iterable<P>, options: Options): Array<Standing<P>> => {
  const { isSeeding, now } = options
  const wanting: Array<Standing<P>> = []
  const gone = new Set(self.standings.keys())
  for (const peer of peers) {
    gone.delete(peer)
    let standing = self.standings.get(peer)
    if (standing === undefined) {
      standing = join(peer, options)
      self.standings.set(peer, standing)
    }
    // If the clock was set back, no wait may last longer for that.
    standing.since = Math.min(standing.since, now)
    if (peer.usefulBytes > standing.useful || !peer.amInterested || standing.quietSince > now) standing.quietSince = now
    standing.useful = peer.usefulBytes
    if (peer.peerInterested && !(isSeeding && peer.isUploadOnly)) wanting.push(standing)
    else yieldSlot(standing, now)
  }
  for (const peer of gone) self.standings.delete(peer)
  return wanting
}

const join = <P extends Peer>(peer: P, { now, random }: Options): Standing<P> => ({
  peer,
  slot: undefined,
  since: now,
  uploadedBefore: 0,
  hadSlot: false,
  useful: peer.usefulBytes,
  usefulLast: peer.usefulBytes,
  usefulBefore: peer.usefulBytes,
  recentBytes: 0,
  quietSince: now,
  salt: random()
})

/** Measures two rounds, which are the 20 s of BEP 3. */
const measure = <P>(standing: Standing<P>): void => {
  standing.recentBytes = standing.useful - standing.usefulBefore
  standing.usefulBefore = standing.usefulLast
  standing.usefulLast = standing.useful
}

const isUploading = <P>(standing: Standing<P>, now: number): boolean =>
  standing.useful > 0 && now - standing.quietSince < snubbedMillis

/** Peers that sent most recently first. Among equals, a peer that has a slot keeps it. */
const byRecentBytes = <P>(one: Standing<P>, other: Standing<P>): number =>
  other.recentBytes - one.recentBytes ||
  Number(other.slot !== undefined) - Number(one.slot !== undefined) ||
  one.salt - other.salt

/** Peers that have held their slot, or waited, longest first. */
const bySince = <P>(one: Standing<P>, other: Standing<P>): number => one.since - other.since || one.salt - other.salt

const hold = <P extends Peer>(standing: Standing<P>, slot: Slot, now: number): void => {
  if (standing.slot === undefined) standing.uploadedBefore = standing.peer.uploadedBytes
  standing.slot = slot
  standing.since = now
  standing.hadSlot = true
}

const yieldSlot = <P>(standing: Standing<P>, now: number): void => {
  standing.slot = undefined
  standing.since = now
}

/** Assigns the earned slots, and ends optimistic slots whose time is over or for which there is no room any more. */
const assignEarned = <P extends Peer>(wanting: ReadonlyArray<Standing<P>>, { now, random, slots }: Options): void => {
  const uploading = wanting.filter((standing) => isUploading(standing, now)).sort(byRecentBytes)
  const earned = new Set(uploading.slice(0, slots - optimisticSlots(slots)))
  for (const standing of earned) if (standing.slot !== "earned") hold(standing, "earned", now)
  const others = wanting.filter((standing) => standing.slot !== undefined && !earned.has(standing))
  for (const standing of others) if (standing.slot === "earned") yieldSlot(standing, now)
  const optimistic = others.filter((standing) => standing.slot !== undefined).sort(bySince)
  const room = slots - earned.size
  const waiting = new Set(wanting.filter((standing) => standing.slot === undefined))
  let held = optimistic.length
  for (const standing of optimistic) {
    standing.slot = "optimistic"
    if (held > room) {
      yieldSlot(standing, now)
      held--
    } else if (now - standing.since >= optimisticMillis) {
      // If nobody else waits, its time begins again.
      const next = draw(waiting, random)
      if (next === undefined) standing.since = now
      else {
        yieldSlot(standing, now)
        waiting.delete(next)
        hold(next, "optimistic", now)
      }
    }
  }
}

/** Ends turns that are over if others wait, and turns for which there is no slot any more. */
const passTurns = <P extends Peer>(wanting: ReadonlyArray<Standing<P>>, { now, slots }: Options): void => {
  const holders = wanting.filter((standing) => standing.slot !== undefined).sort(bySince)
  const waiting = wanting.filter((standing) => standing.slot === undefined).sort(bySince)
  let surplus = holders.length - slots
  for (const standing of holders) {
    standing.slot = "turn"
    if (surplus > 0) {
      yieldSlot(standing, now)
      surplus--
    } else {
      const [next] = waiting
      if (next === undefined || !isTurnOver(standing, next, now)) continue
      waiting.shift()
      yieldSlot(standing, now)
      hold(next, "turn", now)
    }
  }
}

const isTurnOver = <P extends Peer>(holder: Standing<P>, next: Standing<P>, now: number): boolean => {
  const age = now - holder.since
  const received = holder.peer.uploadedBytes - holder.uploadedBefore
  return (
    age >= maxTurnMillis ||
    (age >= minTurnMillis && received >= Math.max(turnBytes, next.peer.uploadedBytes * turnLead))
  )
}

/** Assigns the free slots. */
const fillFree = <P extends Peer>(wanting: ReadonlyArray<Standing<P>>, options: Options): void => {
  const { isSeeding, now, random, slots } = options
  const waiting = new Set(wanting.filter((standing) => standing.slot === undefined))
  let free = slots - (wanting.length - waiting.size)
  if (free <= 0 || waiting.size === 0) return
  if (isSeeding) {
    for (const standing of [...waiting].sort(bySince).slice(0, free)) hold(standing, "turn", now)
    return
  }
  let earnable = slots - optimisticSlots(slots) - wanting.filter((standing) => standing.slot === "earned").length
  for (const standing of [...waiting].filter((standing) => isUploading(standing, now)).sort(byRecentBytes)) {
    if (free === 0 || earnable <= 0) break
    hold(standing, "earned", now)
    waiting.delete(standing)
    free--
    earnable--
  }
  for (; free > 0; free--) {
    const standing = draw(waiting, random)
    if (standing === undefined) return
    waiting.delete(standing)
    hold(standing, "optimistic", now)
  }
}

const weightOf = <P>(standing: Standing<P>): number => (standing.hadSlot ? 1 : newcomerWeight)

const draw = <P>(waiting: ReadonlySet<Standing<P>>, random: () => number): Standing<P> | undefined => {
  let total = 0
  for (const standing of waiting) total += weightOf(standing)
  let left = random() * total
  let drawn: Standing<P> | undefined
  for (const standing of waiting) {
    drawn = standing
    left -= weightOf(standing)
    if (left < 0) break
  }
  return drawn
}
