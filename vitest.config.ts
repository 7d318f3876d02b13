import { tmpdir } from "node:os"
import * as path from "node:path"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** The files that take longest. They begin first, so that none of them runs alone at the end. */
const longest = [
  "cli/Download",
  "storage/FileSystemStorage",
  "simulation/OurSwarm",
  "torrent/Memory",
  "cli/commands",
  "storage/IoDaemonStorage.live",
  "cli/ContentPlace",
  "assembly/Pieces.model",
  "simulation/Time",
  "Documents",
  "peer/MetadataExchange",
  "cli/ProcessOutput",
  "io-daemon/Download.live",
  "storage/NodeWriterLocks",
  "browser/IoDaemonPage"
].map((name) => path.resolve(import.meta.dirname, "test", `${name}.test.ts`))

/** The longest files first, then the others in Vitest's order. */
class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = longest.indexOf(moduleId)
      return index < 0 ? longest.length : index
    }
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}

export default defineConfig({
  ssr: { resolve: { conditions: ["@piecewise/source"] } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    // No test may look outside this machine, or change what programs of the user remember.
    env: { PIECEWISE_OFFLINE: "1", XDG_STATE_HOME: path.join(tmpdir(), "piecewise-tests") },
    sequence: { sequencer: LongestFirst },
    // A worker keeps the modules that it has imported for its next file. Importing them again for each file took more
    // CPU time than the tests.
    isolate: false,
    // One worker less than there are cores would leave half of a small machine idle, because many tests wait.
    maxWorkers: "100%"
  }
})
