// Makes the genuine sa-sdk-node report to argv[2].
'use strict';
const SensorsAnalytics = require('sa-sdk-node');
const address = process.argv[2];

const sa = new SensorsAnalytics();
const submitter = sa.submitTo(address, { mode: 'track' });
submitter.subscribe(() => {}, (err) => { console.error(err); process.exit(1); }, () => {});
sa.registerSuperProperties({ miui_region: 'GB' });
sa.track('user-1', 'search', { search_word: 'korvandel brisamo', $time: new Date(1588300001000) });
sa.profileSet('user-1', { city: 'Leeds' });
sa.itemSet('book', 'item-1', { price: 7 });
