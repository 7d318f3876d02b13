/**
 * The hosts of the trackers of a torrent, which goals are set for. Pure.
 *
 * A host is a name in lower case and in the form of DNS (punycode), or an IP address, without a port. So the trackers of
 * one host count as one, whatever their scheme.
 */
import * as Destination from "../base/Destination.ts"

/** The most characters of a name in DNS (RFC 1035, 2.3.4), and of what may stand for it in another alphabet. */
const maxHostLength = 253
const maxTextLength = 1_000

/** The most hosts that are kept of a torrent: a start reads them all. */
export const maxHosts = 20

/**
 * The host that a text names, in the form that is compared; `undefined` if it names none, or more than a host. For a URL
 * of a scheme other than HTTP, `URL` does not bring a name into that form, so this reads it once more.
 */
export const parse = (text: string): string | undefined => {
  if (text === "" || text.length > maxTextLength || /[/?#@\\\s]/.test(text)) return undefined
  const bare = text.replace(/^\[(.*:.*)\]$/, "$1")
  const url = URL.parse(bare.includes(":") ? `http://[${bare}]/` : `http://${bare}/`)
  const host = url === null ? "" : Destination.hostOf(url)
  return host === "" || host.length > maxHostLength ? undefined : host
}

/** The hosts of trackers, in their order and each once. URLs without a host are left out. */
export const of = (trackers: Iterable<string>): ReadonlyArray<string> => {
  const hosts = new Set<string>()
  for (const tracker of trackers) {
    const url = URL.parse(tracker)
    const host = url === null ? undefined : parse(Destination.hostOf(url))
    if (host !== undefined) hosts.add(host)
    if (hosts.size === maxHosts) break
  }
  return [...hosts]
}
