import { assert, describe, it } from "@effect/vitest"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as IpAddress from "../../../src/base/IpAddress.ts"
import * as BloomFilter from "../../../src/discovery/dht/BloomFilter.ts"

/** The filter that BEP 33 prints for 192.0.2.0 to 192.0.2.255 and 2001:DB8:: to 2001:DB8::3E7. */
const printed =
  "f6c3f5eaa07ffd91bde89f777f26fb2bff37bdb8fb2bbaa2fd3ddde7bacfff75ee7ccbaefe5eedb1fbfaff67f6abff5e" +
  "43ddbca3fd9b9ffdf4ffd3e9dff12d1bdf59db53dbe9fa5b7ff3b8fdfcde1afb8bedd7be2f3ee71ebbbfe93bcdeefe14" +
  "8246c2bc5dbff7e7efdcf24fd8dc7adffd8fffdfddfff7a4bbeedf5cb95ce81fc7fcff1ff4ffffdfe5f7fdcbb7fd79b3" +
  "fa1fc77bfe07fff905b7b7ffc7fefeffe0b8370bb0cd3f5b7f2bd93feb4386cfdd6f7fd5bfaf2e9ebffffeecd67adbf7" +
  "c67f17efd5d75eba6ffeba7fff47a91eb1bfbb53e8abfb5762abe8ff237279bfefbfeef5ffc5febfdfe5adffadfee1fb" +
  "737ffffbfd9f6aeffeee76b6fd8f72ef"

const hosts = [
  ...Array.from({ length: 256 }, (_, index) => `192.0.2.${index}`),
  ...Array.from({ length: 1000 }, (_, index) => `2001:db8::${index.toString(16)}`)
]

const filterOf = (hosts: ReadonlyArray<string>) => {
  const filter = BloomFilter.make()
  for (const host of hosts) BloomFilter.add(filter, IpAddress.parse(host)!)
  return filter
}

describe("BloomFilter", () => {
  it("makes the filter of the vector of BEP 33, and estimates it as the BEP does", () => {
    const filter = filterOf(hosts)

    assert.strictEqual(Bytes.toHex(filter), printed)
    assert.closeTo(BloomFilter.estimate(filter), 1224.9308, 0.0001)
  })

  it("counts an address that several nodes have once", () => {
    const joined = filterOf(hosts.slice(0, 700))
    BloomFilter.addAll(joined, filterOf(hosts.slice(500)))

    assert.strictEqual(Bytes.toHex(joined), printed)
  })

  it("estimates an empty filter as nothing, and a full one as a number", () => {
    assert.strictEqual(BloomFilter.estimate(BloomFilter.make()), 0)
    assert.closeTo(BloomFilter.estimate(new Uint8Array(256).fill(255)), 7_805, 1)
  })
})
