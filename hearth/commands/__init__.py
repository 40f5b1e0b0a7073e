"""What people ask beside kubectl: top, status, doctor, chat. Each gathers what there is, and says it in words."""
