// Prints which entries of a HAR TrackHAR finds a value in, and the milliseconds
// of computing that one pass took. What the engine compiles first is left out.
import { readFileSync } from 'node:fs';
import { process as processHar } from 'trackhar';

const { har, value, passes } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const search = () => processHar(har, { indicatorValues: { deviceId: [value] } });

let results;
for (let i = 0; i < passes; i++) results = await search();
const begin = process.cpuUsage();
for (let i = 0; i < passes; i++) results = await search();
const { user, system } = process.cpuUsage(begin);
console.log(JSON.stringify({
    found: results.map((r) => Boolean(r?.length)),
    milliseconds: (user + system) / 1000 / passes,
}));
