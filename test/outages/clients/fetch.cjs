// The fetch of Node.
'use strict';

exports.call = async () => {
  const response = await fetch(process.env.OUTAGE_URL);
  await response.json();
};
